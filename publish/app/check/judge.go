package check

import (
	"cmp"
	"slices"
	"strings"
)

// Rules are all of them, with the severity that each has unless a policy gives
// it another. docs/checks.md says what each is about.
var Rules = map[string]Severity{
	"signature":          Refuse, // it does not verify
	"signature-old":      Refuse, // not on the old platforms that the app is for
	"signature-v1":       Warn,   // JAR signatures alone
	"debug-key":          Refuse, // signed by a key that every development machine has
	"test-key":           Refuse, // signed by a key that AOSP has published
	"weak-key":           Warn,   // RSA below 2048 bits, DSA
	"set":                Refuse, // the files are no set
	"package":            Refuse, // another package than before
	"signer":             Refuse, // nobody who signed before
	"rotation":           Note,   // a new signer whom the old ones have named
	"version-code":       Refuse, // not above the one before
	"target-sdk":         Refuse, // below the policy's
	"target-sdk-lowered": Warn,
	"min-sdk-raised":     Note,
	"debuggable":         Refuse,
	"test-only":          Refuse,
	"code":               Refuse, // cannot be read
	"permission":         Note,   // asked for when installing or running
	"permission-added":   Warn,   // by a person's yes, since the last version
	"sensitive":          Warn,   // permission of the policy's list
	"exported":           Note,   // components that others can start
	"exported-added":     Warn,   // since the last version, without a permission
	"provider-open":      Warn,   // content that every app can read
	"abi-lost":           Warn,
	"abi-32":             Warn, // 32-bit code alone
	"page-size":          Warn,
	"size":               Refuse, // above the policy's
	"growth":             Warn,
	"google":             Note, // works in part without Google's services
	"google-fails":       Warn, // does not work without them
	"google-added":       Warn, // worse than before
	"icon":               Warn, // none
	"icon-missing":       Note, // not all of it could be drawn
	"label":              Warn, // none
	"feature-added":      Note, // that devices must have, since the last version
}

// Judge says what there is to say of an upload by a policy: against previous,
// the facts of the version before it, or nil. The worst stands first. It is
// pure.
func Judge(facts, previous *Facts, policy Policy) []Finding {
	j := &judge{Facts: facts, old: previous, policy: policy}
	for _, rule := range []func(){
		j.signature, j.keys, j.set, j.sdk, j.flags, j.permissions, j.components, j.native, j.size, j.google, j.page,
	} {
		rule()
	}
	if previous != nil {
		for _, rule := range []func(){
			j.succession, j.olderDevices, j.addedPermissions, j.addedComponents, j.lostABIs, j.growth, j.moreGoogle, j.addedFeatures,
		} {
			rule()
		}
	}
	slices.SortStableFunc(j.findings, func(a, b Finding) int {
		return cmp.Or(rank(a.Severity)-rank(b.Severity), strings.Compare(a.ID, b.ID), strings.Compare(a.Subject, b.Subject))
	})
	return j.findings
}

// judge is one judgement.
type judge struct {
	*Facts
	old      *Facts
	policy   Policy
	findings []Finding
}

// add says something, unless the policy does not want it said.
func (j *judge) add(id, subject, detail, advice string) {
	severity, ok := j.policy.Severities[id]
	if !ok {
		severity = Rules[id]
	}
	if severity != Off {
		j.findings = append(j.findings, Finding{id, severity, subject, detail, advice})
	}
}
