package delta

import (
	"fmt"

	"mios"
	"mios/format/payload"
)

// Minor versions of payloads that a device's update_engine takes, as
// payload_constants.h has them. A target-files zip says which its build takes:
// META/update_engine_config.txt, PAYLOAD_MINOR_VERSION.
const (
	MinorSource   = 2 // SOURCE_COPY and SOURCE_BSDIFF
	MinorSrcHash  = 3 // a hash of what an operation reads, REPLACE_XZ
	MinorBrotli   = 4 // BROTLI_BSDIFF, ZERO and DISCARD
	MinorPuffdiff = 5 // PUFFDIFF
	MinorVerity   = 6 // hash trees and FEC are computed on the device
	MinorPartial  = 7 // partial updates
	MinorZucchini = 8 // ZUCCHINI
	MinorLZ4Diff  = 9 // LZ4DIFF_BSDIFF and LZ4DIFF_PUFFDIFF

	// MinMinor and MaxMinor are those that this package writes.
	MinMinor = MinorSource
	MaxMinor = MinorLZ4Diff
)

// since is from which minor version on an operation may be in a delta.
var since = map[payload.OpType]uint32{
	payload.Replace:       MinMinor,
	payload.ReplaceBZ:     MinMinor,
	payload.SourceCopy:    MinorSource,
	payload.SourceBSDiff:  MinorSource,
	payload.ReplaceXZ:     MinorSrcHash,
	payload.Zero:          MinorBrotli,
	payload.Discard:       MinorBrotli,
	payload.BrotliBSDiff:  MinorBrotli,
	payload.Puffdiff:      MinorPuffdiff,
	payload.Zucchini:      MinorZucchini,
	payload.LZ4DiffBSDiff: MinorLZ4Diff,
	payload.LZ4DiffPuff:   MinorLZ4Diff,
}

// Allowed reports whether a delta of that minor version may have such an
// operation: payload_generation_config.cc's OperationAllowed, but with REPLACE_XZ
// from where the schema has it.
func Allowed(minor uint32, t payload.OpType) bool {
	first, ok := since[t]
	return ok && minor >= first
}

// CheckMinor refuses minor versions that no delta has.
func CheckMinor(minor uint32) error {
	if minor < MinMinor || minor > MaxMinor {
		return fmt.Errorf("minor version %d of a delta: want %d to %d: %w", minor, MinMinor, MaxMinor, mios.ErrInvalid)
	}
	return nil
}
