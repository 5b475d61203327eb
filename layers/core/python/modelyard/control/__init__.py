"""The control plane: look at models, register, promote and roll back over HTTPS."""
