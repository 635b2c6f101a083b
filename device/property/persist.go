package property

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mios"
	"mios/internal/atomicfile"
	"mios/internal/protowire"
)

// maxPersistent is the most bytes that the file of persistent properties may
// have.
const maxPersistent = 4 << 20

// OpenPersistent sets the persist. properties that the file at path holds,
// which has the format of AOSP's /data/property/persistent_properties (the
// protobuf message PersistentProperties); they win over defaults that were set
// before. From here on, what is set is kept in the file. One that cannot be
// read is put beside under the name path.broken, and the error says so; the
// store then works on with a new one.
func (s *Store) OpenPersistent(path string) error {
	sweepErr := atomicfile.Sweep(filepath.Dir(path))
	loaded, err := readPersistent(path)
	if err != nil {
		if renameErr := os.Rename(path, path+".broken"); renameErr != nil {
			return errors.Join(err, renameErr)
		}
		err = fmt.Errorf("%w; it is kept as %s, the properties in it are lost", err, path+".broken")
	}
	saved := make(map[string]string)
	for _, p := range loaded {
		if setErr := s.Set(p.Name, p.Value); setErr != nil {
			err = errors.Join(err, setErr)
			continue
		}
		saved[p.Name] = p.Value
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	s.persistent, s.saved = path, saved
	return errors.Join(err, sweepErr)
}

// save keeps a persist. property. The caller holds setting. Before
// OpenPersistent it does nothing.
func (s *Store) save(name, value string) error {
	if s.persistent == "" {
		return nil
	}
	if old, known := s.saved[name]; known && old == value {
		return nil
	}
	next := maps.Clone(s.saved)
	next[name] = value
	b := formatPersistent(next)
	if len(b) > maxPersistent {
		return fmt.Errorf("persistent properties: over %d bytes together", maxPersistent)
	}
	if err := os.MkdirAll(filepath.Dir(s.persistent), 0o700); err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(s.persistent, b, 0o600); err != nil {
		return err
	}
	s.saved = next
	return nil
}

// formatPersistent writes the message PersistentProperties.
func formatPersistent(values map[string]string) []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rec := protowire.AppendBytes(nil, 1, name)
		rec = protowire.AppendBytes(rec, 2, values[name])
		b = protowire.AppendBytes(b, 1, rec)
	}
	return b
}

func readPersistent(path string) ([]Property, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPersistent+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxPersistent {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxPersistent)
	}
	list, err := parsePersistent(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// parsePersistent reads the message PersistentProperties.
func parsePersistent(b []byte) ([]Property, error) {
	var list []Property
	err := eachField(b, func(num protowire.Number, rec []byte) error {
		if num != 1 {
			return nil
		}
		var p Property
		err := eachField(rec, func(num protowire.Number, text []byte) error {
			switch num {
			case 1:
				p.Name = string(text)
			case 2:
				p.Value = string(text)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !strings.HasPrefix(p.Name, "persist.") {
			return fmt.Errorf("%.80q is not a persistent property", p.Name)
		}
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", mios.ErrInvalid, err)
	}
	return list, nil
}

// eachField calls f for each length-delimited field and skips others.
func eachField(b []byte, f func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		x, err := protowire.Next(b)
		if err != nil {
			return err
		}
		if x.Type == protowire.Bytes {
			if err := f(x.Num, x.B); err != nil {
				return err
			}
		}
		b = b[len(x.Raw):]
	}
	return nil
}
