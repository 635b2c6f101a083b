package repo

// AskRoots makes the client ask for newer roots when it looks for news the next
// time, as it does once a day.
func (c *Client) AskRoots() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state.clone()
	s.raw.RootsAsked = s.raw.RootsAsked.Add(-2 * rootsAge)
	c.state = s
}
