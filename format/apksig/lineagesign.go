package apksig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// NewLineage returns a lineage of two: next follows oldest, whose key signs
// that. The algorithm is that which apksigner would take. caps and nextCaps are
// what each may do once there is a newer one.
func NewLineage(oldest Signer, caps Capabilities, next Signer, nextCaps Capabilities) (*Lineage, error) {
	if _, _, err := oldest.algorithm(); err != nil {
		return nil, fmt.Errorf("lineage: oldest signer: %w", err)
	}
	first := lineageNode{cert: oldest.Certificate, signed: signedNode(oldest.Certificate, 0), flags: caps}
	return (&Lineage{[]lineageNode{first}}).Extend(oldest, next, nextCaps)
}

// Extend returns the lineage with one more certificate, that of next, whose key
// may be of any kind. current is the newest signer so far: its key signs. Of
// next only the certificate is used, which must be new to the lineage.
func (l *Lineage) Extend(current, next Signer, caps Capabilities) (*Lineage, error) {
	newest := &l.nodes[len(l.nodes)-1]
	if !bytes.Equal(newest.cert, current.Certificate) {
		return nil, errors.New("lineage: the signer is not its newest: give the key and certificate that end the lineage")
	}
	if len(l.nodes) == maxLineage {
		return nil, fmt.Errorf("lineage: it has %d certificates, and may have no more", maxLineage)
	}
	if l.Index(next.Certificate) >= 0 {
		return nil, errors.New("lineage: the next signer's certificate is in it already")
	}
	if _, err := certificateKey(next.Certificate); err != nil {
		return nil, fmt.Errorf("lineage: the next signer's certificate: %w", err)
	}
	alg, _, err := current.algorithm()
	if err != nil {
		return nil, fmt.Errorf("lineage: %w", err)
	}
	signed := signedNode(next.Certificate, alg.id)
	sig, err := current.signature(alg, signed)
	if err != nil {
		return nil, fmt.Errorf("lineage: sign: %w", err)
	}
	nodes := slices.Clone(l.nodes)
	nodes[len(nodes)-1].alg = alg.id
	return &Lineage{append(nodes, lineageNode{cert: next.Certificate, signed: signed, flags: caps, sig: sig})}, nil
}

// signedNode returns what of a node the one before signs with algorithm alg.
func signedNode(cert []byte, alg uint32) []byte {
	return binary.LittleEndian.AppendUint32(prefixed(cert), alg)
}
