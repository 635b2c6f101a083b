package check

// A Policy says what findings are to submissions, and where limits are. It is
// read from YAML by [ParsePolicy]; docs/checks.md lists all fields.
type Policy struct {
	TargetSDK int     `yaml:"target_sdk"` // least target SDK of apps for today's devices; 0: any
	Growth    float64 `yaml:"growth"`     // a download that grows by more than this factor is pointed out; 0: never
	MaxSize   int64   `yaml:"max_size"`   // of all files together in bytes; 0: any

	// Severities are those of rules that are not to have their own, by the
	// rule's ID.
	Severities map[string]Severity `yaml:"severities"`
}

// DefaultPolicy is what a store has that says nothing.
func DefaultPolicy() Policy {
	return Policy{TargetSDK: 31, Growth: 1.5, MaxSize: 4 << 30}
}
