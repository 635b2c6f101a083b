package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mios"
	"mios/api/repo"
	"mios/internal/atomicfile"
)

// The files below the store's folder.
const (
	stateFile  = "state.json"
	reportFile = "report.json"
)

// maxWanted is for how long a download that nobody goes on with is kept.
const maxWanted = 14 * 24 * time.Hour

// state is what the store has to know after a restart. To lose it costs bytes,
// and no more.
type state struct {
	Next     int64                    `json:"next,omitempty"`     // look for releases, in seconds since 1970
	Failures int                      `json:"failures,omitempty"` // in a row
	Wanted   map[string][]mios.Digest `json:"wanted,omitempty"`   // files, by package
	Bad      map[string]bad           `json:"bad,omitempty"`      // by package
	Deltas   []mios.Digest            `json:"deltas,omitempty"`   // that were fetched and are no good, the newest last
}

// maxDeltas is how many deltas that are no good are remembered.
const maxDeltas = 100

// bad is a release that was fetched and refused.
type bad struct {
	SHA256 mios.Digest `json:"sha256"` // of the base APK
	Why    string      `json:"why"`
}

// load reads state and report, and removes what a power cut left over.
func (s *Store) load() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := errors.Join(atomicfile.Sweep(s.cfg.Dir), atomicfile.Sweep(s.files.Path)); err != nil {
		return err
	}
	s.read(stateFile, &s.state)
	s.read(reportFile, &s.rep)
	if s.state.Wanted == nil {
		s.state.Wanted = make(map[string][]mios.Digest)
	}
	if s.state.Bad == nil {
		s.state.Bad = make(map[string]bad)
	}
	if s.rep.Apps == nil {
		s.rep.Apps = make(map[string]*Result)
	}
	s.state.Deltas = s.state.Deltas[max(0, len(s.state.Deltas)-maxDeltas):]
	maps.DeleteFunc(s.rep.Apps, func(pkg string, r *Result) bool { return r == nil || r.Package != pkg })
	return nil
}

func (s *Store) read(name string, v any) {
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		s.cfg.Log.Warn("the store forgets what it knew", "file", name, "err", err)
	}
}

func (s *Store) write(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(filepath.Join(s.cfg.Dir, name), b, 0o600)
}

// want makes these the files that are kept for a package, and removes those of
// releases that were superseded.
func (s *Store) want(pkg string, files []mios.Digest) error {
	s.mu.Lock()
	s.state.Wanted[pkg] = files
	err := s.write(stateFile, &s.state)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.tidy()
}

// unwant removes what was fetched for a package.
func (s *Store) unwant(pkg string) {
	s.mu.Lock()
	delete(s.state.Wanted, pkg)
	delete(s.state.Bad, pkg)
	err := s.write(stateFile, &s.state)
	s.mu.Unlock()
	if err := errors.Join(err, s.tidy()); err != nil {
		s.cfg.Log.Warn("downloads that nobody wants stay", "err", err)
	}
}

// tidy removes files that no package wants.
func (s *Store) tidy() error {
	wanted := map[mios.Digest]bool{}
	s.mu.Lock()
	for _, files := range s.state.Wanted {
		for _, sum := range files {
			wanted[sum] = true
		}
	}
	s.mu.Unlock()
	return s.files.Keep(wanted, time.Now().Add(-maxWanted)) // files have the system's time
}

// refused remembers that a release was fetched for nothing.
func (s *Store) refused(pkg string, rel *repo.AppRelease, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Bad[pkg] = bad{rel.Target.SHA256, why}
	if err := s.write(stateFile, &s.state); err != nil {
		s.cfg.Log.Warn("a release that was refused will be tried again", "package", pkg, "err", err)
	}
}

// badBefore says why a release was refused when it was fetched before, unless a
// person asks for it again.
func (s *Store) badBefore(pkg string, rel *repo.AppRelease, j job) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.state.Bad[pkg]; ok && b.SHA256 == rel.Target.SHA256 && !j.asked {
		return b.Why
	}
	return ""
}

// badDelta remembers that a delta was fetched for nothing: another look, after
// the whole package did not come either, does not fetch it again.
func (s *Store) badDelta(d mios.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Deltas = append(slices.DeleteFunc(s.state.Deltas, func(o mios.Digest) bool { return o == d }), d)
	s.state.Deltas = s.state.Deltas[max(0, len(s.state.Deltas)-maxDeltas):]
	if err := s.write(stateFile, &s.state); err != nil {
		s.cfg.Log.Warn("a delta that is no good will be tried again", "err", err)
	}
}

// goodDelta tells whether a delta was not found to be no good before.
func (s *Store) goodDelta(d mios.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.Contains(s.state.Deltas, d)
}

// forgetDeltas lets a release's deltas be tried again, after a restart as well.
func (s *Store) forgetDeltas(rel *repo.AppRelease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.state.Deltas)
	s.state.Deltas = slices.DeleteFunc(s.state.Deltas, func(d mios.Digest) bool {
		return slices.ContainsFunc(rel.Deltas, func(o repo.AppDelta) bool { return o.Target.SHA256 == d })
	})
	if len(s.state.Deltas) == before {
		return
	}
	if err := s.write(stateFile, &s.state); err != nil {
		s.cfg.Log.Warn("a delta that a person asked for may not be tried after a restart", "err", err)
	}
}

func (s *Store) now() time.Time { return s.cfg.Now() }
