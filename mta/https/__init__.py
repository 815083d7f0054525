"""Documents over HTTPS, from servers whose certificates verify."""
