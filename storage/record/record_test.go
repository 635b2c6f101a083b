package record_test

import (
	"testing"

	"mios/internal/testkit"
	"mios/storage/record/recordtest"
)

func TestSQLite(t *testing.T) {
	recordtest.Run(t, func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/new/a b?.db" })
}

func TestPostgres(t *testing.T) {
	recordtest.Run(t, func(t *testing.T) string { return testkit.Postgres(t) })
}
