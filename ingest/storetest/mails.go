package storetest

import (
	"bytes"
	"testing"

	"mailbeacon/ingest/aggregate"
)

// mails: the last mail of a campaign is the one that is kept, byte for byte.
func mails(t *testing.T, f *fixture) {
	want := func(campaign uint32, html []byte) {
		t.Helper()
		got, err := f.Mail(t.Context(), campaign)
		if err != nil || !bytes.Equal(got, html) {
			t.Errorf("campaign %d: %.40q, %v; want %.40q", campaign, got, err, html)
		}
	}
	put := func(campaign uint32, html []byte) {
		t.Helper()
		if err := f.PutMail(t.Context(), campaign, html); err != nil {
			t.Fatal(err)
		}
		want(campaign, html)
	}
	want(1, nil)
	put(1, []byte("<p>first"))
	put(2, []byte("<p>other"))
	for range 3 { // the same again, and others soon after
		put(1, []byte("<p>second"))
		put(1, []byte("<p>third\x00\xff 'quoted' \\ \n"))
	}
	put(3, bytes.Repeat([]byte("ä"), aggregate.MaxMail/2))
	put(1, []byte{})
	want(2, []byte("<p>other"))
	mine := []byte("mine")
	put(4, mine)
	copy(mine, "gone")
	want(4, []byte("mine"))
	if !f.b.Volatile {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.open(t)
		want(4, []byte("mine"))
	}
}
