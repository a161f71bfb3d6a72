"""What is kept in the user's cache folder, so that work is done once. Comes in: what a source learned of its pictures,
and pictures as they were decoded; goes out: the same at a later opening or visit (`index`, `decoded`), or nothing."""
