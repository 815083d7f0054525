"""How private: certificates, contexts, and the level a connection reached."""
