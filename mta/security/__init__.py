"""How private mail must travel: what decides, pure, before a host is dialled and after."""
