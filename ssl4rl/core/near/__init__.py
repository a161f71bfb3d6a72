"""Near-twins and the groups they make. Comes in: items' ids and which pairs of them are near; goes out: a group's id
for every item, so that a split keeps a group on one side (`groups`), and which texts are near each other
(`shingles`)."""
