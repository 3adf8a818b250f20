"""Commands of the device, one file each, and the driver that the host shares."""
