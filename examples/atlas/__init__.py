"""What the atlas job is made of: measure a file, relate the files, draw, write. None of it knows Penstock."""
