"""How pictures look. Comes in: decoded pictures; goes out: a few hundred bytes of each (`thumb`), whether two of them
show one picture (`alike`), and all such pairs among many (`search`)."""
