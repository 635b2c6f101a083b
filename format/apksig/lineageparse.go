package apksig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/format/apk"
)

const (
	lineageMagic   = 0x3eff39d1
	lineageVersion = 1
	maxLineage     = 128     // certificates
	maxLineageFile = 1 << 20 // bytes
)

// A FormatError says where a file that belongs to a package breaks its format.
type FormatError struct {
	File string // what kind: "lineage" or "idsig"
	Off  int64
	Msg  string
}

// Error names the file, the offset, what was found and what was expected.
func (e *FormatError) Error() string { return fmt.Sprintf("%s: offset %#x: %s", e.File, e.Off, e.Msg) }

// ParseLineage reads a lineage file, as apksigner rotate writes it, and verifies
// that each certificate is signed by the one before. What it accepts,
// [Lineage.Bytes] gives back byte for byte. An error is a [*FormatError], or
// wraps [mios.ErrDenied] if a signature does not verify.
func ParseLineage(b []byte) (*Lineage, error) {
	bad := func(off int, format string, args ...any) error {
		return &FormatError{"lineage", int64(off), fmt.Sprintf(format, args...)}
	}
	if len(b) > maxLineageFile {
		return nil, bad(maxLineageFile, "%d bytes, at most %d are read", len(b), maxLineageFile)
	}
	c := &cursor{b: b}
	magic, version := c.uint32(), c.uint32()
	switch {
	case c.bad:
		return nil, bad(0, "%d bytes, want 8 of header", len(b))
	case magic != lineageMagic:
		return nil, bad(0, "magic %#x, want %#x: it is no lineage file; apksigner rotate or mios app lineage makes one", magic, lineageMagic)
	case version != lineageVersion:
		return nil, bad(4, "version %d, want %d", version, lineageVersion)
	}
	value := c.bytes()
	switch {
	case c.bad:
		return nil, bad(8, "the nodes are cut short: %d bytes follow", len(b)-8)
	case c.more():
		return nil, bad(len(b)-len(c.b), "%d bytes after the last node", len(c.b))
	}
	l, fault := readLineage(value)
	if fault != nil {
		if fault.kind == lineageUnproven {
			return nil, fmt.Errorf("lineage: %s: %w", fault.msg, mios.ErrDenied)
		}
		return nil, bad(12+fault.off, "%s", fault.msg)
	}
	if !bytes.Equal(l.Bytes(), b) {
		return nil, bad(12, "there are bytes in the nodes that no field holds")
	}
	return l, nil
}

// Bytes returns the lineage as a file.
func (l *Lineage) Bytes() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(le.AppendUint32(nil, lineageMagic), lineageVersion)
	return append(b, prefixed(l.attribute())...)
}

// attribute returns the value of the attribute of a v3 signer, or of a stamp,
// that holds the lineage.
func (l *Lineage) attribute() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, lineageVersion)
	for _, n := range l.nodes {
		node := prefixed(n.signed)
		node = le.AppendUint32(node, uint32(n.flags))
		node = le.AppendUint32(node, n.alg)
		b = append(b, prefixed(append(node, prefixed(n.sig)...))...)
	}
	return b
}

// ReadLineage returns the lineage that the v3.1 and v3 signers of the package
// in the first size bytes of r hold, all of them merged. It verifies the
// lineage but not the package. Without a lineage it wraps [mios.ErrNotFound].
func ReadLineage(r io.ReaderAt, size int64) (*Lineage, error) {
	layout, err := apk.FindLayout(r, size)
	if err != nil {
		return nil, err
	}
	s, _, err := readSections(r, layout)
	if err != nil {
		return nil, err
	}
	var all []*Lineage
	for _, id := range []uint32{blockV31, blockV3} {
		block, _ := s.pair(id)
		values, ok := lineageAttributes(block)
		if !ok {
			return nil, &FormatError{"lineage", s.end, fmt.Sprintf("signing block: the value of pair %#x is malformed", id)}
		}
		for _, value := range values {
			l, fault := readLineage(value)
			if fault != nil {
				return nil, fmt.Errorf("lineage: %s: %w", fault.msg, mios.ErrDenied)
			}
			all = append(all, l)
		}
	}
	merged, err := mergeLineages(all...)
	if err == nil && merged == nil {
		err = fmt.Errorf("lineage: no v3 or v3.1 signer of the package has one: %w", mios.ErrNotFound)
	}
	return merged, err
}

// lineageAttributes returns the values of the attributes that hold lineages, of
// all signers in a v3 block. Nil has none.
func lineageAttributes(block []byte) (values [][]byte, ok bool) {
	if block == nil {
		return nil, true
	}
	list := (&cursor{b: block}).sub()
	for n := 0; list.more() && n < maxV3Signers; n++ {
		signed := list.sub().sub()
		signed.bytes() // digests
		signed.bytes() // certificates
		signed.uint32()
		signed.uint32()
		attrs := signed.sub()
		for attrs.more() && len(values) < maxRecords {
			a := attrs.sub()
			if id := a.uint32(); id == attrLineage && !a.bad {
				values = append(values, a.b)
			}
		}
		if attrs.bad {
			return nil, false
		}
	}
	return values, !list.bad
}

type lineageFaultKind int

const (
	lineageMalformed lineageFaultKind = iota
	lineageUnknown                    // a version that AOSP does not know
	lineageEmpty
	lineageUnproven
)

// A lineageFault is what is wrong with a lineage.
type lineageFault struct {
	kind lineageFaultKind
	off  int
	msg  string
}

// readLineage reads and verifies the value of an attribute that holds a
// lineage (AOSP tools/apksig, V3SigningCertificateLineage).
func readLineage(b []byte) (*Lineage, *lineageFault) {
	c := &cursor{b: b}
	switch version := c.uint32(); {
	case len(b) == 0:
		return nil, &lineageFault{lineageEmpty, 0, "it is empty"}
	case c.bad:
		return nil, &lineageFault{lineageMalformed, 0, fmt.Sprintf("%d bytes, want 4 of version", len(b))}
	case version != lineageVersion:
		return nil, &lineageFault{lineageUnknown, 0, fmt.Sprintf("version %d of the nodes, want %d", version, lineageVersion)}
	}
	var nodes []lineageNode
	for c.more() {
		off := len(b) - len(c.b)
		if len(nodes) == maxLineage {
			return nil, &lineageFault{lineageMalformed, off, fmt.Sprintf("more than %d certificates", maxLineage)}
		}
		n, by, ok := readLineageNode(c)
		if !ok {
			return nil, &lineageFault{lineageMalformed, off, fmt.Sprintf("certificate %d is cut short", len(nodes)+1)}
		}
		if len(nodes) > 0 && findAlgorithm(nodes[len(nodes)-1].alg) == nil {
			return nil, &lineageFault{lineageMalformed, off, fmt.Sprintf("certificate %d: signed with the unknown algorithm %#x", len(nodes)+1, nodes[len(nodes)-1].alg)}
		}
		if err := n.prove(nodes, by); err != nil {
			return nil, &lineageFault{lineageUnproven, off, fmt.Sprintf("certificate %d: %v", len(nodes)+1, err)}
		}
		nodes = append(nodes, n)
	}
	if len(nodes) == 0 {
		return nil, &lineageFault{lineageEmpty, 4, "no certificates"}
	}
	return &Lineage{nodes}, nil
}

// readLineageNode reads a node, and the algorithm that is signed in it.
func readLineageNode(c *cursor) (n lineageNode, by uint32, ok bool) {
	nc := c.sub()
	n.signed = nc.bytes()
	n.flags, n.alg = Capabilities(nc.uint32()), nc.uint32()
	n.sig = nc.bytes()
	sc := &cursor{b: n.signed}
	n.cert = sc.bytes()
	by = sc.uint32()
	return n, by, !nc.bad && !sc.bad
}

// prove verifies that n follows the nodes before.
func (n *lineageNode) prove(before []lineageNode, by uint32) error {
	if len(before) > 0 {
		parent := &before[len(before)-1]
		if err := parent.verify(n.signed, n.sig); err != nil {
			return err
		}
		if by != parent.alg {
			return fmt.Errorf("signed with algorithm %#x, but %#x is signed", parent.alg, by)
		}
	}
	if _, err := certificateKey(n.cert); err != nil {
		return fmt.Errorf("malformed: %v", err)
	}
	for i := range before {
		if bytes.Equal(before[i].cert, n.cert) {
			return fmt.Errorf("it is certificate %d once more", i+1)
		}
	}
	return nil
}

// verify verifies n's signature of the next node.
func (n *lineageNode) verify(signed, sig []byte) error {
	der, err := certificateKey(n.cert)
	if err != nil {
		return err
	}
	key, err := parsePublicKey(der)
	if err != nil {
		return err
	}
	ok, err := findAlgorithm(n.alg).verify(key, signed, sig)
	if err == nil && !ok {
		err = errors.New("the signature by the one before does not verify")
	}
	return err
}

// lineage reads and verifies the proof of rotation of s, which must end with
// its own certificate.
func (v *verifier) lineage(s *signer, value []byte) bool {
	l, fault := readLineage(value)
	if fault != nil {
		name := "V3_SIG_MALFORMED_LINEAGE"
		switch fault.kind {
		case lineageUnproven:
			name = "V3_SIG_POR_DID_NOT_VERIFY"
		case lineageUnknown, lineageEmpty: // AOSP's answer to it
			name = "V3_SIG_POR_CERT_MISMATCH"
		}
		v.fail(name, "lineage: %s", fault.msg)
		return false
	}
	if l.Index(s.certs[0]) != l.Len()-1 {
		v.fail("V3_SIG_POR_CERT_MISMATCH", "the lineage does not end with the signer's certificate")
		return false
	}
	s.lineage = l
	return true
}
