package ota

import (
	"errors"
	"fmt"

	"mios/api/repo"
	"mios/format/payload"
)

// advice says what a person can do about an error, where the error itself does
// not.
var advice = []struct {
	is   error
	then string
}{
	{repo.ErrStale, "check the device's clock, and whether the repository is still signed every day"},
	{repo.ErrExpired, "check the device's clock, and whether the repository is still signed every day"},
	{repo.ErrRollback, "the server or mirror shows an older repository than before: check which one answers"},
	{repo.ErrSignature, "the repository is not the one that this build trusts: check its address and its keys"},
	{repo.ErrMix, "the server or mirror answers with files that do not belong together: check which one answers"},
	{repo.ErrLength, "the server, or what stands before it, cuts files or adds to them: check which one answers"},
	{repo.ErrHash, "the server, or what stands before it, changes files: check which one answers"},
	{repo.ErrRole, "the repository's operator must take back what was signed with that role's keys"},
	{ErrBudget, "ask for it on a cheaper network, with update_engine_client --update --unmetered; a product that needs more raises update.budget"},
	{payload.ErrData, "the server, or what stands before it, changes files: check which one answers"},
	{payload.ErrSignature, "the payload is not signed by this product's key: build and publish it again with the right one"},
}

// sentence is what a person reads of an error.
func sentence(err error) string {
	if err == nil {
		return ""
	}
	for _, a := range advice {
		if errors.Is(err, a.is) {
			return fmt.Sprintf("%v: %s", err, a.then)
		}
	}
	return err.Error()
}
