package delta

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/build/ota/input"
	"mios/format/payload"
	"mios/internal/atomicfile"
)

// DefaultMinor is the minor version for a source that does not say which it
// takes: Android 12's, the first with partial updates. What has an update_engine
// that is younger takes it, too.
const DefaultMinor = MinorPartial

// Options say how a delta between two builds is made.
type Options struct {
	// MinorVersion is that of the source's update_engine; 0 takes what the source
	// build says, or DefaultMinor.
	MinorVersion uint32
	// Partitions are those that are brought; none stands for all. If the new build
	// has others, the payload is a partial update.
	Partitions []string
	// Downgrade permits a new build that is older than the old one.
	Downgrade bool
	// Timestamp and SecurityPatch, if set, stand in for what the new build says.
	Timestamp     int64
	SecurityPatch string
	Signers       []crypto.Signer
}

// Between returns the delta from one build to another. Both must stay open until
// it is written.
func Between(old, new *input.Build, o Options) (*Delta, error) {
	d := &Delta{Signers: o.Signers}
	h := &d.Header
	if h.MinorVersion = o.MinorVersion; h.MinorVersion == 0 {
		h.MinorVersion = old.MinorVersion
	}
	if h.MinorVersion == 0 {
		h.MinorVersion = DefaultMinor
	}
	h.MinorVersion = min(h.MinorVersion, max(MaxMinor, o.MinorVersion))
	if err := CheckMinor(h.MinorVersion); err != nil {
		return nil, err
	}
	h.MaxTimestamp, h.SecurityPatch, h.Apexes = new.Timestamp, new.SecurityPatch, new.Apexes
	if o.Timestamp != 0 {
		h.MaxTimestamp = o.Timestamp
	}
	if o.SecurityPatch != "" {
		h.SecurityPatch = o.SecurityPatch
	}
	if old.Timestamp > h.MaxTimestamp && h.MaxTimestamp != 0 {
		if !o.Downgrade {
			return nil, fmt.Errorf("new build is of %s, older than the old one, of %s: %w: swap them, or permit it (--downgrade)",
				date(h.MaxTimestamp), date(old.Timestamp), mios.ErrInvalid)
		}
		h.MaxTimestamp = old.Timestamp
	}
	for _, name := range o.Partitions {
		if new.Find(name) == nil {
			return nil, fmt.Errorf("partition %s: not in the new build: %w", name, mios.ErrNotFound)
		}
	}
	for i := range new.Partitions {
		to := &new.Partitions[i]
		if len(o.Partitions) > 0 && !slices.Contains(o.Partitions, to.Header.Name) {
			h.PartialUpdate = true
			continue
		}
		p := Partition{Header: to.Header, New: Image{ReaderAt: to, Size: to.Size, SHA256: to.SHA256}}
		if from := old.Find(to.Header.Name); from != nil {
			p.Old = Image{ReaderAt: from, Size: from.Size, SHA256: from.SHA256}
		}
		d.Partitions = append(d.Partitions, p)
	}
	if h.PartialUpdate && h.MinorVersion < MinorPartial {
		return nil, fmt.Errorf("partial update: the source takes payloads of minor version %d, want %d or more: %w: bring all partitions",
			h.MinorVersion, MinorPartial, mios.ErrInvalid)
	}
	if !h.PartialUpdate && h.MinorVersion < MinorPartial {
		for i := range d.Partitions {
			d.Partitions[i].Header.Version = "" // its update_engine knows no such field
		}
	}
	var err error
	h.Dynamic, err = d.dynamic(new.Dynamic)
	return d, err
}

// dynamic returns what is said of super for the partitions that are brought.
func (d *Delta) dynamic(of *payload.DynamicPartitions) (*payload.DynamicPartitions, error) {
	if of == nil {
		return nil, nil
	}
	out := *of
	out.Groups = nil
	for _, g := range of.Groups {
		var total uint64
		group := payload.Group{Name: g.Name, Size: g.Size}
		for _, name := range g.Partitions {
			i := slices.IndexFunc(d.Partitions, func(p Partition) bool { return p.Header.Name == name })
			if i < 0 {
				continue
			}
			group.Partitions = append(group.Partitions, name)
			total += uint64(d.Partitions[i].New.Size)
		}
		if total > g.Size {
			return nil, fmt.Errorf("partitions %s: %d bytes, and their group %s in super has %d: %w: make them smaller, or the group larger",
				strings.Join(group.Partitions, ", "), total, g.Name, g.Size, mios.ErrInvalid)
		}
		if len(group.Partitions) > 0 || !d.Header.PartialUpdate {
			out.Groups = append(out.Groups, group)
		}
	}
	return &out, nil
}

// WriteFile writes the payload into a file, once it is verified: unless
// noVerify, by applying it. Verifying, if set, is told how far that is.
func (d *Delta) WriteFile(ctx context.Context, name string, noVerify bool, verifying func(done, total int64)) (props payload.Properties, stats *Stats, err error) {
	err = atomicfile.Fill(name, 0o644, func(f *os.File) error {
		spool, err := os.CreateTemp(filepath.Dir(name), ".payload-*")
		if err != nil {
			return err
		}
		defer spool.Close()
		if err := os.Remove(spool.Name()); err != nil {
			return err
		}
		if props, stats, err = d.Write(ctx, f, spool); err != nil || noVerify {
			return err
		}
		if err := Verify(ctx, f, props.FileSize, d.Partitions, verifying); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		return nil
	})
	return props, stats, err
}

// date is a build's time, in seconds since 1970, as a person reads it.
func date(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05 UTC")
}
