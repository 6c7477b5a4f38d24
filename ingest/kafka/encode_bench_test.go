package kafka

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

// BenchmarkEncode is what the look at consent and campaigns, and the frame, cost an event before it leaves: 20 campaigns,
// 100,000 people of whom one in ten chose something. One operation is one event.
func BenchmarkEncode(b *testing.B) {
	log, registry, table := control.NewMemory(), campaign.NewRegistry(), consent.NewTable(consent.BasisSubject)
	follower := controltest.Follow(b, log, registry, table)
	of := make([]uint32, 20)
	for i := range of {
		c, err := campaign.NewWriter(log, follower, registry).Create(b.Context(), "c"+strconv.Itoa(i), "")
		must(b, err)
		of[i] = c.Number
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	people := make([]uint64, 100_000)
	var refused []consent.Change
	for i := range people {
		people[i] = rnd.Uint64() | 1
		if i%10 == 0 {
			refused = append(refused, consent.Change{Subject: people[i], Clicks: consent.Refused, Source: "test"})
		}
	}
	if _, _, err := consent.NewWriter(log, follower, table).Change(b.Context(), refused...); err != nil {
		b.Fatal(err)
	}
	l := lane{Shipper: &Shipper{o: ShipperOptions{Consent: table, Campaigns: registry, Spool: Spool{Edge: 1, Epoch: 1}}}}
	l.rule.Consent, l.rule.Campaigns = table, registry
	for i := range MaxFrameEvents {
		ev := event.Event{Time: int64(i), Subject: people[rnd.IntN(len(people))], Campaign: of[rnd.IntN(len(of))], Kind: event.Open}
		if i%5 == 0 {
			ev.Kind, ev.Link = event.Click, 1
		}
		l.events, l.numbers = append(l.events, ev), append(l.numbers, uint64(i))
	}
	l.encode()
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(l.events) {
		l.encode()
	}
}
