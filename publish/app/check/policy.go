package check

import (
	"fmt"
	"maps"
	"slices"

	"mios"
	"mios/internal/strictyaml"
)

// A Policy says what findings are to submissions, and where limits are.
// docs/checks.md lists all rules.
type Policy struct {
	TargetSDK int     `yaml:"target_sdk" json:"target_sdk"` // least target SDK; 0: any
	Growth    float64 `yaml:"growth" json:"growth"`         // a download that grows by more than this factor is pointed out; 0: never
	MaxSize   int64   `yaml:"max_size" json:"max_size"`     // of all files together in bytes; 0: any

	// Sensitive are permissions that are pointed out even in a first version.
	Sensitive []string `yaml:"sensitive" json:"sensitive"`

	// Severities are those of rules that are not to have their own, by the
	// rule's ID.
	Severities map[string]Severity `yaml:"severities" json:"severities"`
}

// DefaultPolicy is what a store has that says nothing.
func DefaultPolicy() Policy {
	return Policy{
		TargetSDK: 31, Growth: 1.5, MaxSize: 4 << 30,
		Sensitive: []string{
			"android.permission.BIND_ACCESSIBILITY_SERVICE",
			"android.permission.BIND_DEVICE_ADMIN",
			"android.permission.BIND_NOTIFICATION_LISTENER_SERVICE",
			"android.permission.BIND_VPN_SERVICE",
			"android.permission.MANAGE_EXTERNAL_STORAGE",
			"android.permission.PACKAGE_USAGE_STATS",
			"android.permission.PROCESS_OUTGOING_CALLS",
			"android.permission.QUERY_ALL_PACKAGES",
			"android.permission.READ_CALL_LOG",
			"android.permission.READ_SMS",
			"android.permission.RECEIVE_SMS",
			"android.permission.REQUEST_INSTALL_PACKAGES",
			"android.permission.SEND_SMS",
			"android.permission.SYSTEM_ALERT_WINDOW",
		},
	}
}

// ParsePolicy reads a policy in YAML, of which JSON is a part. What it does not
// say is as in [DefaultPolicy]; a field or a rule that nobody knows is an error
// that wraps [mios.ErrInvalid].
func ParsePolicy(b []byte) (Policy, error) {
	p := DefaultPolicy()
	kept := p
	if err := strictyaml.Unmarshal(b, &p); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if p.TargetSDK == 0 && p.Growth == 0 && p.MaxSize == 0 && p.Sensitive == nil && p.Severities == nil {
		return kept, nil // the decoder empties what a document without a field is read into
	}
	for _, id := range slices.Sorted(maps.Keys(p.Severities)) {
		if _, ok := Rules[id]; !ok {
			return Policy{}, fmt.Errorf("policy: severities: no rule %q: %w: the rules are %v", id, mios.ErrInvalid, slices.Sorted(maps.Keys(Rules)))
		}
		if s := p.Severities[id]; !slices.Contains([]Severity{Refuse, Warn, Note, Off}, s) {
			return Policy{}, fmt.Errorf("policy: severities: %s: %q: %w: want refuse, warn, note or off", id, s, mios.ErrInvalid)
		}
	}
	if p.TargetSDK < 0 || p.Growth < 0 || p.MaxSize < 0 {
		return Policy{}, fmt.Errorf("policy: a limit below 0: %w: 0 switches it off", mios.ErrInvalid)
	}
	return p, nil
}
