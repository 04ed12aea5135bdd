"""qcow2 images, versions 2 and 3: `header` the first cluster, `tables` the mapping and reference counts and how they
change, `image` the disk, `check` what an image's tables add up to, `create` new images."""
