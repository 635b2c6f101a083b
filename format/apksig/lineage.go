package apksig

import (
	"bytes"
	"fmt"
)

const (
	lineageVersion = 1
	maxLineage     = 128 // certificates
)

// A lineageNode is one certificate in the proof of rotation, signed by the key
// of the one before (AOSP tools/apksig, V3SigningCertificateLineage).
type lineageNode struct {
	cert  []byte
	flags uint32 // what an older certificate may still do
	alg   uint32 // that this node signs the next one with
}

// A Lineage is the history of a signer's certificates, each of which is signed
// by the key of the one before (AOSP tools/apksig, SigningCertificateLineage).
type Lineage struct{ nodes []lineageNode }

// Certificates returns the DER certificates, the oldest first, the signer's own
// last.
func (l *Lineage) Certificates() [][]byte {
	out := make([][]byte, len(l.nodes))
	for i, n := range l.nodes {
		out[i] = n.cert
	}
	return out
}

// lineage reads and verifies the proof of rotation of s, which must end with
// its own certificate.
func (v *verifier) lineage(s *signer, value []byte) bool {
	nodes, issue := readLineage(value)
	if issue.Name != "" {
		v.fail(issue.Name, "signer %d: %s", s.index, issue.Detail)
		return false
	}
	if len(nodes) == 0 || !bytes.Equal(nodes[len(nodes)-1].cert, s.certs[0]) {
		v.fail("V3_SIG_POR_CERT_MISMATCH", "signer %d: the lineage does not end with the signer's certificate", s.index)
		return false
	}
	s.lineageNodes, s.lineage = nodes, &Lineage{nodes}
	return true
}

func readLineage(b []byte) ([]lineageNode, Issue) {
	malformed := func(format string, args ...any) ([]lineageNode, Issue) {
		return nil, Issue{Name: "V3_SIG_MALFORMED_LINEAGE", Detail: fmt.Sprintf(format, args...)}
	}
	unproven := func(format string, args ...any) ([]lineageNode, Issue) {
		return nil, Issue{Name: "V3_SIG_POR_DID_NOT_VERIFY", Detail: fmt.Sprintf(format, args...)}
	}
	c := &cursor{b: b}
	if version := c.uint32(); c.bad || version != lineageVersion {
		return malformed("version %d, want %d", version, lineageVersion)
	}
	var nodes []lineageNode
	for i := 0; c.more(); i++ {
		nc := c.sub()
		signed := nc.bytes()
		node := lineageNode{flags: nc.uint32(), alg: nc.uint32()}
		sig := nc.bytes()
		sc := &cursor{b: signed}
		node.cert = sc.bytes()
		by := sc.uint32()
		if nc.bad || sc.bad {
			return malformed("node %d is cut short", i)
		}
		if i == maxLineage {
			return malformed("more than %d certificates", maxLineage)
		}
		if _, err := certificateKey(node.cert); err != nil {
			return malformed("node %d: %v", i, err)
		}
		for j, n := range nodes {
			if bytes.Equal(n.cert, node.cert) {
				return unproven("nodes %d and %d have the same certificate", j, i)
			}
		}
		if i > 0 {
			if err := nodes[i-1].verify(signed, sig); err != nil {
				return unproven("node %d: %v", i, err)
			}
			if by != nodes[i-1].alg {
				return unproven("node %d is signed with algorithm %#x, want %#x", i, by, nodes[i-1].alg)
			}
		}
		nodes = append(nodes, node)
	}
	if c.bad {
		return malformed("cut short after node %d", len(nodes))
	}
	return nodes, Issue{}
}

// verify verifies n's signature of the next node.
func (n *lineageNode) verify(signed, sig []byte) error {
	alg := findAlgorithm(n.alg)
	if alg == nil {
		return fmt.Errorf("unknown algorithm %#x", n.alg)
	}
	der, err := certificateKey(n.cert)
	if err != nil {
		return err
	}
	key, err := parsePublicKey(der)
	if err != nil {
		return err
	}
	ok, err := alg.verify(key, signed, sig)
	if err == nil && !ok {
		err = fmt.Errorf("the signature by the node before does not verify")
	}
	return err
}

// extends reports whether the certificates of newer begin with those of older.
func extends(older, newer []lineageNode) bool {
	if len(older) > len(newer) {
		return false
	}
	for i := range older {
		if !bytes.Equal(older[i].cert, newer[i].cert) {
			return false
		}
	}
	return true
}
