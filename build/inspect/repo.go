package inspect

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mios/api/repo"
	"mios/format/tuf"
	"mios/internal/digest"
	"mios/internal/progress"
)

// tuf tells of a metadata file of a repository.
func (s *scan) tuf(in *input, r *Report) error {
	b, err := in.text()
	if err != nil {
		return err
	}
	role, err := roleOf(b)
	if err != nil {
		r.Kind, r.Title = unknown, "text"
		return nil
	}
	_, err = s.role(role, b, r)
	return err
}

// role tells what a metadata file says and returns it.
func (s *scan) role(role string, b []byte, r *Report) (tuf.Document, error) {
	switch role {
	case tuf.RoleRoot:
		m, err := tuf.Parse[tuf.Root](b)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(m.Signed.Roles)) {
			k := m.Signed.Roles[name]
			r.fact("role", "%s: %d of %s", name, k.Threshold, count(len(k.KeyIDs), "key"))
		}
		s.head(role, m, r)
		if err := tuf.Verify(&m.Signed, tuf.RoleRoot, m); err != nil {
			r.fail(err, "")
		} else {
			r.done("its signatures, by its own keys")
		}
		return m, nil
	case tuf.RoleTimestamp:
		m, err := tuf.Parse[tuf.Timestamp](b)
		if err != nil {
			return nil, err
		}
		s.head(role, m, r)
		return m, nil
	case tuf.RoleSnapshot:
		m, err := tuf.Parse[tuf.Snapshot](b)
		if err != nil {
			return nil, err
		}
		s.head(role, m, r)
		r.fact("names", "%s", count(len(m.Signed.Meta), "metadata file"))
		return m, nil
	case tuf.RoleTargets:
		m, err := tuf.Parse[tuf.Targets](b)
		if err != nil {
			return nil, err
		}
		s.head(role, m, r)
		r.fact("targets", "%d", len(m.Signed.Targets))
		if d := m.Signed.Delegations; d != nil {
			for _, role := range d.Roles {
				r.fact("delegates", "%s: %d of %s", role.Name, role.Threshold, count(len(role.KeyIDs), "key"))
			}
		}
		r.Summary += ", " + count(len(m.Signed.Targets), "target")
		return m, nil
	}
	return nil, fmt.Errorf("%q: %w", role, errNoRole)
}

// head tells what all metadata says.
func (s *scan) head(role string, m tuf.Document, r *Report) {
	h := m.Head()
	r.Version = fmt.Sprint(h.Version)
	r.fact("expires", "%s", h.Expires.UTC().Format(time.RFC3339))
	r.fact("signatures", "%d", len(*m.Sigs()))
	r.Summary = fmt.Sprintf("%s %d, expires %s", role, h.Version, h.Expires.UTC().Format(time.DateOnly))
	warnExpired("it", h, r)
}

// A repoTree is a repository's folder while it is verified.
type repoTree struct {
	s    *scan
	dir  string
	r    *Report
	root *tuf.Metadata[tuf.Root]
	seen map[string]bool
}

// repository verifies the folder of a repository, as a device would that starts
// from its first root.
func (s *scan) repository(dir string, r *Report) {
	t := &repoTree{s: s, dir: dir, r: r, seen: make(map[string]bool)}
	r.Kind, r.Title = "repository", "repository (TUF)"
	if err := t.verify(); err != nil && !isCancelled(err) {
		r.fail(err, "mios repo status tells what to do")
	}
}

func (t *repoTree) verify() error {
	if err := t.roots(); err != nil {
		return err
	}
	ts, err := verifiedFile[tuf.Timestamp](t, "metadata/timestamp.json", tuf.RoleTimestamp, &t.root.Signed, nil)
	if err != nil {
		return err
	}
	file := ts.Signed.Meta["snapshot.json"]
	if file == nil {
		return errors.New("timestamp.json names no snapshot")
	}
	snap, err := verifiedFile[tuf.Snapshot](t, repo.MetadataPath(tuf.RoleSnapshot, file.Version), tuf.RoleSnapshot, &t.root.Signed, file)
	if err != nil {
		return err
	}
	targets, err := t.targets(tuf.RoleTargets, &t.root.Signed, snap)
	if err != nil {
		return err
	}
	t.r.Summary = fmt.Sprintf("root %d, snapshot %d, %s", t.root.Signed.Version, snap.Signed.Version, count(targets, "target"))
	t.r.done("all signatures, from root 1 on, of %s", count(len(t.seen), "role"))
	return nil
}

// read returns a metadata file.
func (t *repoTree) read(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(t.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, tuf.MaxSize+1))
}

// roots verifies each root by the one before.
func (t *repoTree) roots() error {
	n := int64(1)
	for ; ; n++ {
		b, err := t.read(repo.MetadataPath(tuf.RoleRoot, n))
		if errors.Is(err, fs.ErrNotExist) && n > 1 {
			break
		}
		if err != nil {
			return err
		}
		m, err := tuf.Parse[tuf.Root](b)
		if err != nil {
			return fmt.Errorf("root %d: %w", n, err)
		}
		if t.root != nil {
			if err := tuf.Verify(&t.root.Signed, tuf.RoleRoot, m); err != nil {
				return fmt.Errorf("root %d, by the keys of root %d: %w", n, n-1, err)
			}
		}
		if err := tuf.Verify(&m.Signed, tuf.RoleRoot, m); err != nil {
			return fmt.Errorf("root %d: %w", n, err)
		}
		t.root = m
	}
	t.seen[tuf.RoleRoot] = true
	t.s.expired(tuf.RoleRoot, t.root, t.r)
	return nil
}

func (s *scan) expired(role string, m tuf.Document, r *Report) {
	h := m.Head()
	r.fact(role, "version %d, expires %s", h.Version, h.Expires.UTC().Format(time.RFC3339))
	warnExpired(role, h, r)
}

func warnExpired(what string, h *tuf.Header, r *Report) {
	if h.Expires.Before(time.Now()) {
		r.say(Warning, "mios repo refresh signs what is signed online; mios repo status tells the rest", "%s has expired: devices refuse it", what)
	}
}

// verifiedFile reads a metadata file and verifies who signed it and, where that
// is said, its digest.
func verifiedFile[T tuf.Role](t *repoTree, name, role string, by tuf.Delegator, want *tuf.MetaFile) (*tuf.Metadata[T], error) {
	b, err := t.read(name)
	if err != nil {
		return nil, err
	}
	m, err := tuf.Parse[T](b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := tuf.Verify(by, role, m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if want != nil {
		sum := sha256.Sum256(b)
		if d := want.Hashes["sha256"]; d != nil && !bytes.Equal(d, sum[:]) {
			return nil, fmt.Errorf("%s: its SHA-256 is %x, and the metadata above it says %x", name, sum, d)
		}
		if want.Version != 0 && want.Version != m.Head().Version {
			return nil, fmt.Errorf("%s: version %d, and the metadata above it says %d", name, m.Head().Version, want.Version)
		}
	}
	if !t.seen[role] && !strings.Contains(role, "-") {
		t.s.expired(role, m, t.r)
	}
	t.seen[role] = true
	return m, nil
}

// targets verifies a targets role and those that it delegates to, and returns
// how many targets they name.
func (t *repoTree) targets(role string, by tuf.Delegator, snap *tuf.Metadata[tuf.Snapshot]) (int, error) {
	if t.seen[role] || t.s.ctx.Err() != nil {
		return 0, t.s.ctx.Err()
	}
	file := snap.Signed.Meta[role+".json"]
	if file == nil {
		return 0, fmt.Errorf("the snapshot names no %s.json", role)
	}
	m, err := verifiedFile[tuf.Targets](t, repo.MetadataPath(role, file.Version), role, by, file)
	if err != nil {
		return 0, err
	}
	n := len(m.Signed.Targets)
	t.files(m)
	for name := range snap.Signed.Meta {
		name = strings.TrimSuffix(name, ".json")
		if t.seen[name] {
			continue
		}
		if _, err := m.Signed.Delegation(name); err != nil {
			continue // another role delegates to it
		}
		k, err := t.targets(name, &m.Signed, snap)
		if err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// files checks that the files of targets are there, whole, and with Options.Deep
// their hashes.
func (t *repoTree) files(m *tuf.Metadata[tuf.Targets]) {
	for _, name := range slices.Sorted(maps.Keys(m.Signed.Targets)) {
		f := m.Signed.Targets[name]
		sum := f.Hashes["sha256"]
		full := filepath.Join(t.dir, filepath.FromSlash(withDigest(name, sum)))
		fi, err := os.Stat(full)
		if err != nil {
			t.r.fail(fmt.Errorf("%s: %w", name, err), "publish it again")
			continue
		}
		if fi.Size() != f.Length {
			t.r.say(Error, "publish it again", "%s: %d bytes, and its metadata says %d", name, fi.Size(), f.Length)
			continue
		}
		if sum == nil {
			continue
		}
		if !t.s.afford(f.Length) {
			t.r.skipped(name+", "+progress.Size(f.Length), why)
			continue
		}
		if have, err := digest.File(full); err != nil {
			t.r.fail(err, "")
		} else if !bytes.Equal(have[:], sum) {
			t.r.say(Error, "publish it again", "%s: its SHA-256 is %x, and its metadata says %x", name, have, sum)
		}
	}
}

// withDigest is the name that a target's file has in the folder.
func withDigest(name string, sum []byte) string {
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i+1], name[i+1:]
	}
	return fmt.Sprintf("%s%x.%s", dir, sum, base)
}

// isBackup says whether a tar file begins as mios backup writes it.
func isBackup(in *input) bool { return strings.HasPrefix(string(in.head), "data/") }

// backup tells of a backup, which only restoring it judges.
func (s *scan) backup(_ *input, r *Report) error {
	r.skipped("anything in it", "mios restore --check does it")
	return nil
}
