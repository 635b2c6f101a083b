package fdroid_test

import (
	"testing"
	"time"

	"mios/internal/testkit"
	"mios/storage"
	"mios/storage/tree/dir"
)

// TestS3: in a bucket the repository is what it is in a folder, with diffs and
// with files that are removed after an hour.
func TestS3(t *testing.T) {
	t.Parallel()
	bucket, err := storage.Tree(t.Context(), testkit.S3(t))
	if err != nil {
		t.Fatal(err)
	}
	folder := dir.New(t.TempDir())
	a, b := config(t, bucket), config(t, folder)
	removed := 0
	for round := range 20 {
		a.Time = a.Time.Add(10 * time.Minute)
		b.Time = a.Time
		x, y := publish(t, a, some(20+round%3, 1)...), publish(t, b, some(20+round%3, 1)...)
		if *x != *y {
			t.Errorf("round %d: %+v in the bucket, %+v in the folder", round, x, y)
		}
		removed += x.Removed
	}
	checkWhole(t, bucket)
	names, err := bucket.List(t.Context(), "apps")
	if err != nil {
		t.Fatal(err)
	}
	others, err := folder.List(t.Context(), "apps")
	if err != nil || len(names) != len(others) || removed == 0 {
		t.Errorf("%d files in the bucket, %d in the folder, %v, %d removed", len(names), len(others), err, removed)
	}
}
