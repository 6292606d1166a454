package edge_test

func serveClients() bool { return false }
