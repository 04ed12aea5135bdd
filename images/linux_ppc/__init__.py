"""Linux for a 460EX and an e500mc board, built from Debian's sources."""
