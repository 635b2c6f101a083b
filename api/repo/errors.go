package repo

import "errors"

// The reasons for which a client refuses a repository's files. Every error of
// a [Client] that is about what it was given wraps one of them, or
// [mios.ErrInvalid] for files that no reader could make sense of; what is left
// are errors of the [Fetcher] and of the disk.
var (
	// ErrExpired: its signer did not want it trusted for longer.
	ErrExpired = errors.New("expired")
	// ErrStale: signed longer ago than the product allows for installing.
	ErrStale = errors.New("too old to install from")
	// ErrRollback: older than what this device has seen.
	ErrRollback = errors.New("rolled back")
	// ErrSignature: too few good signatures of the role's keys.
	ErrSignature = errors.New("not signed as it must be")
	// ErrMix: good files, which do not belong together.
	ErrMix = errors.New("mixed files")
	// ErrLength: more or fewer bytes than were signed for, or than any file of
	// its kind has.
	ErrLength = errors.New("wrong length")
	// ErrHash: other bytes than were signed for.
	ErrHash = errors.New("wrong bytes")
	// ErrRole: a role said what it may not say, such as a release for
	// another product, or an app of a signer who does not own the package.
	ErrRole = errors.New("beyond what its role may say")
)
