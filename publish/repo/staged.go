package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
)

func stagedName(role string) string { return stagedDir + "/" + role + ".json" }

// stage keeps a document that waits for signatures.
func (r *Repo) stage(ctx context.Context, d *document) error {
	b, err := d.bytes()
	if err != nil {
		return err
	}
	return r.state.Write(ctx, stagedName(d.role), b)
}

func (r *Repo) unstage(ctx context.Context, role string) error {
	return r.state.Remove(ctx, stagedName(role))
}

// loadStaged reads what waits for signatures, save what was published since.
func (r *Repo) loadStaged(v *view) (map[string]*document, error) {
	staged := map[string]*document{}
	names, err := r.state.List(v.ctx, stagedDir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		role, ok := strings.CutSuffix(path.Base(name), ".json")
		if !ok {
			continue
		}
		b, err := r.state.Read(v.ctx, name)
		if errors.Is(err, mios.ErrNotFound) {
			continue // published since it was listed
		}
		if err != nil {
			return nil, err
		}
		d, err := parseDocument(role, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if v.version(role) < d.version() {
			staged[role] = d
		}
	}
	return staged, nil
}

// A Bundle is what has to be signed elsewhere: a file that goes to the machine
// with the keys and back. Nothing in it is secret.
type Bundle struct {
	Requests []Request `json:"requests"`
}

// A Request is one role's new metadata. Groups are the sets of keys of which
// so many must sign, each.
type Request struct {
	Role     string          `json:"role"`
	Groups   []group         `json:"groups"`
	Metadata json.RawMessage `json:"metadata"`
}

// maxBundle bounds a bundle, in bytes.
const maxBundle = 64 << 20

// ReadBundle reads a bundle's JSON.
func ReadBundle(b []byte) (*Bundle, error) {
	if len(b) > maxBundle {
		return nil, fmt.Errorf("bundle: %d bytes: %w", len(b), mios.ErrInvalid)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	bundle := new(Bundle)
	if err := dec.Decode(bundle); err != nil {
		return nil, fmt.Errorf("bundle: %v: %w", err, mios.ErrInvalid)
	}
	for _, req := range bundle.Requests {
		for _, g := range req.Groups {
			if err := repo.CheckKeys(g.Keys); err != nil {
				return nil, fmt.Errorf("bundle: %s: %w", req.Role, err)
			}
		}
	}
	return bundle, nil
}

// Export returns what waits for signatures. The error wraps
// [mios.ErrNotFound] where nothing does.
func (r *Repo) Export(ctx context.Context) (*Bundle, error) {
	t, unlock, err := r.beginLocked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t.docs = t.staged
	bundle := new(Bundle)
	for _, role := range slices.SortedFunc(maps.Keys(t.docs), byRank) {
		d := t.docs[role]
		req := Request{Role: role}
		if req.Groups, err = t.groups(d, t.current); err != nil {
			return nil, err
		}
		if req.Metadata, err = d.bytes(); err != nil {
			return nil, err
		}
		bundle.Requests = append(bundle.Requests, req)
	}
	if len(bundle.Requests) == 0 {
		return nil, fmt.Errorf("repository %s: nothing waits for signatures: %w", r.dir, mios.ErrNotFound)
	}
	return bundle, nil
}

// Sign adds the signatures of the keys at hand to the requests that they are
// for, and returns how many. It needs no repository.
func (b *Bundle) Sign(keys Keys) (int, error) {
	added := 0
	for i := range b.Requests {
		req := &b.Requests[i]
		d, err := parseDocument(req.Role, req.Metadata)
		if err != nil {
			return added, err
		}
		signers, err := keys.Signers(keyRole(req.Role))
		if err != nil {
			return added, err
		}
		for _, g := range req.Groups {
			before := g.count(d)
			if err := d.sign(signers, g.ids()); err != nil {
				return added, err
			}
			added += g.count(d) - before
		}
		if req.Metadata, err = d.bytes(); err != nil {
			return added, err
		}
	}
	return added, nil
}

// Describe says what a request's signer vouches for, a line each, from the
// metadata itself.
func (q *Request) Describe() ([]string, error) {
	d, err := parseDocument(q.Role, q.Metadata)
	if err != nil {
		return nil, err
	}
	have, need := 0, 0
	for _, g := range q.Groups {
		have, need = have+min(g.count(d), g.Threshold), need+g.Threshold
	}
	lines := []string{fmt.Sprintf("%s version %d, good until %s, %d of %d signatures", q.Role, d.version(), d.expires().Format("2006-01-02"), have, need)}
	switch {
	case d.root != nil:
		for _, role := range tuf.TopLevel {
			if r := d.root.Signed.Roles[role]; r != nil {
				lines = append(lines, describeKeys(role, r.Threshold, r.KeyIDs))
			}
		}
	case d.targets.Signed.Delegations != nil:
		for _, r := range d.targets.Signed.Delegations.Roles {
			lines = append(lines, describeKeys(r.Name, r.Threshold, r.KeyIDs)+" for "+strings.Join(r.Paths, " "))
		}
	}
	if d.targets != nil {
		lines = append(lines, describeClaims(d.targets)...)
		for _, name := range slices.Sorted(maps.Keys(d.targets.Signed.Targets)) {
			lines = append(lines, describeTarget(name, d.targets.Signed.Targets[name]))
		}
	}
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return lines, nil
}

// printable keeps metadata from drawing on the terminal of who decides about
// it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func describeKeys(role string, threshold int, ids []string) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = fmt.Sprintf("%.8s", id)
	}
	return fmt.Sprintf("  %s: %d of the keys %s", role, threshold, strings.Join(short, " "))
}

// describeClaims says who owns what by a claims bin.
func describeClaims(m *targetsMeta) []string {
	claims, err := repo.ReadClaims(m.Signed.Unrecognized)
	if err != nil {
		return []string{fmt.Sprintf("  claims: %v", err)}
	}
	var lines []string
	for _, pkg := range slices.Sorted(maps.Keys(claims)) {
		lines = append(lines, fmt.Sprintf("  %s: signers %v", pkg, claims[pkg].Signers))
	}
	return lines
}

func describeTarget(name string, f *tuf.TargetFile) string {
	var r repo.OSRelease
	t, err := repo.TargetOf(name, f, nil)
	if err != nil {
		return fmt.Sprintf("  %s: %v", name, err)
	}
	line := fmt.Sprintf("  %s, %d bytes, SHA-256 %s", name, t.Length, t.SHA256)
	if _, err := repo.TargetOf(name, f, &r); err == nil && r.Version != "" {
		line += fmt.Sprintf(": version %s for %s %s in %s, to at most %s", r.Version, r.Product, r.Arch, strings.Join(r.Channels, ", "), r.MaxShare)
	}
	return line
}

// Import takes the signatures of a bundle and publishes what has enough of
// them. What changed since the export is refused with an error that wraps
// [mios.ErrConflict].
func (r *Repo) Import(ctx context.Context, b *Bundle) (*Result, error) {
	return r.change(ctx, func(t *tx) error {
		for _, req := range b.Requests {
			if err := t.merge(req); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) merge(req Request) error {
	from, err := parseDocument(req.Role, req.Metadata)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	d := t.staged[req.Role]
	if d == nil {
		return fmt.Errorf("bundle: %s version %d: nothing of the role waits for signatures: %w: it is published already, or was never exported here",
			req.Role, from.version(), mios.ErrConflict)
	}
	a, err := d.signed()
	if err != nil {
		return err
	}
	b, err := from.signed()
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("bundle: %s version %d is not what waits for signatures: %w: it changed since, export it again", req.Role, from.version(), mios.ErrConflict)
	}
	groups, err := t.groups(d, t.current)
	if err != nil {
		return err
	}
	taken := 0
	for _, sig := range *from.signatures() {
		one := *d.signatures()
		*d.signatures() = []tuf.Signature{sig}
		good := slices.ContainsFunc(groups, func(g group) bool { return g.count(d) == 1 })
		*d.signatures() = one
		if good {
			tuf.AddSignature(d.meta(), sig)
			taken++
		}
	}
	if taken < len(*from.signatures()) {
		return fmt.Errorf("bundle: %s: %d of %d signatures are not by keys of the role: %w", req.Role, len(*from.signatures())-taken, len(*from.signatures()), mios.ErrInvalid)
	}
	return nil
}
