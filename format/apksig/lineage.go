package apksig

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// Capabilities are what an older certificate of a lineage may still do for the
// app that a newer one signs (AOSP tools/apksig, SignerCapabilities).
type Capabilities uint32

// The capabilities that platforms know. Other bits are kept as they are.
const (
	InstalledData Capabilities = 1 << iota // the app takes over data of one signed with the older certificate
	SharedUID                              // the app shares a UID with apps of the older certificate
	Permission                             // apps of the older certificate get the app's signature permissions
	Rollback                               // the app can be replaced by one signed with the older certificate
	Auth                                   // for account authenticators the older certificate counts as the newer

	// DefaultCapabilities are all but Rollback, as in AOSP's apksigner.
	DefaultCapabilities = InstalledData | SharedUID | Permission | Auth
)

var capabilityNames = []struct {
	bit  Capabilities
	name string
}{
	{InstalledData, "installed-data"},
	{SharedUID, "shared-uid"},
	{Permission, "permission"},
	{Rollback, "rollback"},
	{Auth, "auth"},
}

// Has reports whether c holds all of want.
func (c Capabilities) Has(want Capabilities) bool { return c&want == want }

// Names returns the names of the known capabilities in c, as apksigner's
// options --set-NAME have them.
func (c Capabilities) Names() []string {
	var out []string
	for _, n := range capabilityNames {
		if c.Has(n.bit) {
			out = append(out, n.name)
		}
	}
	return out
}

// String lists the names, or says "none".
func (c Capabilities) String() string {
	if names := c.Names(); len(names) > 0 {
		return strings.Join(names, ",")
	}
	return "none"
}

// ParseCapability returns the capability of that name, such as "shared-uid".
func ParseCapability(name string) (Capabilities, bool) {
	for _, n := range capabilityNames {
		if n.name == name {
			return n.bit, true
		}
	}
	return 0, false
}

// A Lineage is the history of a signer's certificates, each of which is signed
// by the key of the one before (AOSP tools/apksig, SigningCertificateLineage).
// It has at least one certificate and never changes.
type Lineage struct{ nodes []lineageNode }

// A lineageNode is one certificate in the proof of rotation, signed by the key
// of the one before (AOSP tools/apksig, V3SigningCertificateLineage).
type lineageNode struct {
	cert   []byte
	signed []byte // what the node before signed: the certificate and an algorithm
	flags  Capabilities
	alg    uint32 // that this node signs the next one with; 0: there is none
	sig    []byte // by the node before; empty in the first
}

var (
	errNotInLineage = errors.New("lineage: it has no such certificate")
	errUnrelated    = errors.New("lineage: neither of the two continues the other")
	errDiverges     = errors.New("lineage: the two have other certificates after a common one")
)

// Len returns how many certificates there are.
func (l *Lineage) Len() int { return len(l.nodes) }

// Certificates returns the DER certificates, the oldest first, the signer's own
// last.
func (l *Lineage) Certificates() [][]byte {
	out := make([][]byte, len(l.nodes))
	for i, n := range l.nodes {
		out[i] = n.cert
	}
	return out
}

// Index returns the place of a DER certificate, 0 the oldest; -1: it is not in
// the lineage.
func (l *Lineage) Index(cert []byte) int {
	return slices.IndexFunc(l.nodes, func(n lineageNode) bool { return bytes.Equal(n.cert, cert) })
}

// Capabilities returns those of the certificate with that index, which is below
// Len.
func (l *Lineage) Capabilities(i int) Capabilities { return l.nodes[i].flags }

// SetCapabilities returns the lineage with other capabilities for a certificate
// of it. They are not signed: no key is needed.
func (l *Lineage) SetCapabilities(cert []byte, caps Capabilities) (*Lineage, error) {
	i := l.Index(cert)
	if i < 0 {
		return nil, errNotInLineage
	}
	nodes := slices.Clone(l.nodes)
	nodes[i].flags = caps
	return &Lineage{nodes}, nil
}

// Until returns the lineage up to and with a certificate of it.
func (l *Lineage) Until(cert []byte) (*Lineage, error) {
	i := l.Index(cert)
	if i < 0 {
		return nil, errNotInLineage
	}
	return &Lineage{l.nodes[: i+1 : i+1]}, nil
}

// Merge returns the lineage that holds both, of which one must continue the
// other, from its first certificate or a later one on. For certificates in
// both, what the one that begins later says of their capabilities counts (AOSP
// tools/apksig, SigningCertificateLineage.mergeLineageWith).
func (l *Lineage) Merge(other *Lineage) (*Lineage, error) {
	older, newer := l, other
	if other.Index(l.nodes[0].cert) >= 0 {
		older, newer = other, l
	}
	at := older.Index(newer.nodes[0].cert)
	if at < 0 {
		return nil, errUnrelated
	}
	common := min(len(older.nodes)-at, len(newer.nodes))
	for i := range common {
		if !bytes.Equal(older.nodes[at+i].cert, newer.nodes[i].cert) {
			return nil, errDiverges
		}
	}
	nodes := slices.Concat(older.nodes[:at], newer.nodes)
	if rest := at + common; common == len(newer.nodes) {
		nodes = append(nodes, older.nodes[rest:]...)
	}
	return &Lineage{nodes}, nil
}

// mergeLineages merges those that are not nil; nil if there is none.
func mergeLineages(all ...*Lineage) (*Lineage, error) {
	var merged *Lineage
	for _, l := range all {
		switch {
		case l == nil:
			continue
		case merged == nil:
			merged = l
			continue
		}
		var err error
		if merged, err = merged.Merge(l); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// Replaces reports whether a package signed with lineage l may be installed
// over one signed with old: l continues old, or it goes back to a certificate
// of old that has the capability Rollback. A nil lineage has no certificate
// (AOSP tools/apksig, SigningCertificateLineage.checkLineagesCompatibility).
func (l *Lineage) Replaces(old *Lineage) bool {
	if old == nil {
		return true
	}
	if l == nil {
		return false
	}
	newest := old.nodes[len(old.nodes)-1].cert
	if i := l.Index(newest); i >= 0 { // l continues old, of which it may lack the beginning
		n := min(i+1, len(old.nodes))
		return sameCertificates(l.nodes[i+1-n:i+1], old.nodes[len(old.nodes)-n:]) && (n == i+1 || n == len(old.nodes))
	}
	n := len(l.nodes)
	return n <= len(old.nodes) && sameCertificates(l.nodes, old.nodes[:n]) && old.nodes[n-1].flags.Has(Rollback)
}

func sameCertificates(a, b []lineageNode) bool {
	return slices.EqualFunc(a, b, func(a, b lineageNode) bool { return bytes.Equal(a.cert, b.cert) })
}
