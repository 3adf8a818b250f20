"""From a folder of part images to checked, split, preprocessed and augmented tensors."""
