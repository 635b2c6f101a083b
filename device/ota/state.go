package ota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"mios"
	"mios/api/repo"
	"mios/device/bootrecord"
	"mios/format/payload"
)

// A State is what the engine is doing.
type State string

// The states, named as AOSP's UpdateStatus. Those marked saved outlive a
// reboot.
const (
	Idle        State = "IDLE"                    // saved
	Checking    State = "CHECKING_FOR_UPDATE"     //
	Available   State = "UPDATE_AVAILABLE"        // a check found a release, which was not asked to be installed
	Downloading State = "DOWNLOADING"             // saved: payload into the other slot
	Verifying   State = "VERIFYING"               // saved: the other slot, with AVB
	Finalizing  State = "FINALIZING"              // saved: about to make the other slot active
	NeedReboot  State = "UPDATED_NEED_REBOOT"     // saved: the other slot is active
	CleanUp     State = "CLEANUP_PREVIOUS_UPDATE" // health checks after a boot
	Reporting   State = "REPORTING_ERROR_EVENT"   // the last attempt failed
	RollingBack State = "ATTEMPTING_ROLLBACK"     // this slot is given up; about to reboot into the other
)

// Names of what the engine keeps in its store.
const (
	stateFile    = "state.json"
	metadataFile = "metadata.bin" // of the release's full payload
	deltaFile    = "delta.bin"    // of the delta that is being applied
)

// A Record is what the engine remembers.
type Record struct {
	State State `json:"state"`
	// Install is the update under way; nil if none is.
	Install *Install `json:"install,omitempty"`
	// Proved is the newest update that was found healthy.
	Proved *Install `json:"proved,omitempty"`
	Bad    []Bad    `json:"bad,omitempty"` // oldest first
	// LastCheck is when the repository was last asked and answered.
	LastCheck time.Time `json:"last_check,omitzero"`
}

// An Install is one update, from its first byte to the boot that proves it.
type Install struct {
	Digest    mios.Digest `json:"digest"` // of the payload
	Version   string      `json:"version"`
	BuildTime int64       `json:"build_time"`
	Notes     string      `json:"notes,omitempty"` // see Progress
	Size      int64       `json:"size"`            // of what the way fetches, bytes
	Slot      string      `json:"slot"`            // that it is written to
	// Metadata is the SHA-256 of metadataFile's content.
	Metadata mios.Digest `json:"metadata"`
	// Checkpoint is how far the payload is on the medium; the adaptive way needs
	// none.
	Checkpoint payload.Checkpoint `json:"checkpoint"`
	// Way is how the device comes to the release: "" is an older release's word
	// for full. Why is a sentence that holds it against the others.
	Way Way    `json:"way,omitempty"`
	Why string `json:"why,omitempty"`
	// Failed are the ways that did not fit, and why.
	Failed map[Way]string `json:"failed,omitempty"`
	// Away are the ways whose files no mirror had.
	Away map[Way]Absence `json:"away,omitempty"`
	// Spent is how many bytes were fetched, by whatever way.
	Spent int64 `json:"spent,omitempty"`
	// Delta is the SHA-256 of deltaFile's content, once it is there.
	Delta mios.Digest `json:"delta,omitzero"`
	// Again counts how often it was begun again because the slot did not read
	// back as it was written.
	Again int `json:"again,omitempty"`
	// BootID is that of the boot in which the slot was made active.
	BootID string `json:"boot_id,omitempty"`
	// Refusals are those that the boot record had when the update began.
	Refusals []bootrecord.Refusal `json:"refusals,omitempty"`

	reached int64 // of Size
}

// way returns how the device comes to the release.
func (in *Install) way() Way {
	if in.Way == "" {
		return Full
	}
	return in.Way
}

// A Bad release is one that this device does not try again.
type Bad struct {
	Digest  mios.Digest `json:"digest"` // of the payload
	Version string      `json:"version"`
	Reason  string      `json:"reason"` // one sentence
	Time    time.Time   `json:"time"`
	// Outside says that a check failed that not the device alone decides, and
	// that nobody has seen it hold since.
	Outside bool `json:"outside,omitempty"`
}

// maxBad is how many bad releases are remembered.
const maxBad = 64

// bad returns what is known against a payload, or nil.
func (r *Record) bad(d mios.Digest) *Bad {
	for i := range r.Bad {
		if r.Bad[i].Digest == d {
			return &r.Bad[i]
		}
	}
	return nil
}

// reject ends the update under way and remembers why its release is bad.
func (r *Record) reject(reason string, now time.Time) {
	in := r.Install
	r.forgive(in.Digest)
	r.Bad = append(r.Bad, Bad{Digest: in.Digest, Version: in.Version, Reason: reason, Time: now.UTC()})
	r.Bad = r.Bad[max(0, len(r.Bad)-maxBad):]
	r.State, r.Install = Idle, nil
}

// forgive forgets what is known against a payload.
func (r *Record) forgive(d mios.Digest) {
	kept := r.Bad[:0]
	for _, b := range r.Bad {
		if b.Digest != d {
			kept = append(kept, b)
		}
	}
	r.Bad = kept
}

// is reports whether the install is of that release.
func (in *Install) is(rel *repo.OSRelease) bool { return in != nil && in.Digest == rel.Target.SHA256 }

// load reads the record. One that cannot be read is an empty one, and the
// error says so: a device must be able to update in spite of it.
func load(s Store) (*Record, error) {
	empty := &Record{State: Idle}
	b, err := s.Read(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	r := new(Record)
	if err := json.Unmarshal(b, r); err != nil { // unknown fields are a newer release's
		return empty, fmt.Errorf("%s: %v: %w", stateFile, err, mios.ErrInvalid)
	}
	switch r.State {
	case Downloading, Verifying, Finalizing, NeedReboot:
		if r.Install == nil || r.Install.Slot == "" {
			return empty, fmt.Errorf("%s: state %s without an install: %w", stateFile, r.State, mios.ErrInvalid)
		}
	default:
		r.State, r.Install = Idle, nil
	}
	return r, nil
}

// save makes the record durable.
func (r *Record) save(s Store) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := s.Write(stateFile, append(b, '\n')); err != nil {
		return fmt.Errorf("save the updater's state: %w", err)
	}
	return nil
}
