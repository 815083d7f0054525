"""Send: routes, connections and SMTP sessions going out."""
