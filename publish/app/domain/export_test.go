package domain

// Public is what the client says of an address before it connects.
func Public(address string) error { return public("tcp", address, nil) }
