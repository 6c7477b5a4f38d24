package mint_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/mint"
)

// BenchmarkRecipients mints for people with ten links each: parsing, hashing, twelve tokens, the
// population, a line of some 1,400 bytes. The store of the population is one that forgets.
//
//	go test ./internal/mint -run - -bench Recipients -cpu 1
func BenchmarkRecipients(b *testing.B) {
	h := newHouse(b, consent.BasisSubject)
	for i := range 10 {
		if _, err := h.writer.AddLink(b.Context(), "spring", campaign.Link{URL: fmt.Sprintf("https://example.com/%d", i)}); err != nil {
			b.Fatal(err)
		}
	}
	in := &people{left: b.N}
	b.ReportAllocs()
	b.ResetTimer()
	sum, err := h.Recipients(b.Context(), "spring", mint.Stream{In: in, Out: io.Discard})
	if err != nil || sum.Minted != uint64(b.N) {
		b.Fatal(sum, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "people/s")
}

// people is a stream of different addresses.
type people struct {
	left, n int
	rest    bytes.Buffer
}

func (p *people) Read(b []byte) (int, error) {
	for p.rest.Len() < len(b) && p.left > 0 {
		fmt.Fprintf(&p.rest, "{\"to\":\"somebody.%08d@example.com\"}\n", p.n%100_000)
		p.n++
		p.left--
	}
	return p.rest.Read(b)
}
