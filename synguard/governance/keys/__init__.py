"""Who may sign, and with what: public keys, key files, hardware tokens, and the trust file that names the people."""
