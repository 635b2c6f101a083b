package store

import "time"

// SetStall says for how long an upload's bytes may not come, before Handler.
func (s *Service) SetStall(d time.Duration) { s.stall = d }
