"""Tasks, one file each: postprocessing and the Decision; `task` in run and bundle names the file."""
