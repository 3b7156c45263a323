"""suite2p's output: folders, and the MATLAB file Fall.mat."""
