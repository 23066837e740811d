"""What our legal entity asked of each maker and may still ask, over all its workspaces."""
