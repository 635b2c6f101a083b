package check

// Judge says what there is to say of an upload by a policy: against previous,
// the facts of the version before it, if there is one. The worst stands first.
// It is pure.
func Judge(facts, previous *Facts, policy Policy) []Finding { return nil }
