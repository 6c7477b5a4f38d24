package dashboard

import (
	"cmp"
	"time"
)

// System is how the parts of this process do. A part that it does not have is nil.
type System struct {
	Spool   *Spool
	Fold    *Fold
	Control *Control
}

// Spool is the write-ahead log of events.
type Spool struct {
	Healthy       bool
	Bytes         int64 // on disk
	Segments      int
	Age           time.Duration // of the oldest event in it; zero if there is none
	FailedAppends uint64        // events that the disk did not take
	Damaged       uint64        // damaged places that were found
}

// Fold is what counts events.
type Fold struct {
	Waiting    uint64 // events that are durable and not counted yet
	Held       int    // of those, in memory for the classification window
	LastCommit time.Time
	Retries    uint64 // commits that had to be tried again
	Lost       uint64 // events that could not be read any more
	FaultSince time.Time
	Fault      string // what keeps it from counting; "" if nothing does
}

// Control is the log of campaigns and consent, as far as it is folded here.
type Control struct {
	Position    uint64
	LastContact time.Time // when the log last answered, with nothing that is not folded; zero if never
	Failing     bool      // the last read failed
	// Lease says whether somebody proves that what is known here is all there is; HasLease, whether anybody has to.
	HasLease, Lease bool
	ApplyErrors     uint64 // records that could not be used
}

// systemBody is the body of the page.
type systemBody struct {
	Faults    []string
	Version   string
	Campaigns string
}

const (
	// slowFold is how many events may wait before the page says so: more than the classification window holds
	// on a busy day.
	slowFold = 1_000_000
	// oldSpool is how old the oldest event may be: what is counted leaves within six minutes.
	oldSpool = 10 * time.Minute
	// quiet is how long the control log may keep silent.
	quiet = 10 * time.Second
)

// fact is a line of the page.
type fact struct {
	part, key, name, text string
	value                 any
	wrong                 bool
	act                   string // what to do where it is wrong; "" where it never is
}

// system is how the server does, and what to do about it.
func (d *Dashboard) system(k *look) (*sheet, error) {
	sys := d.o.System()
	var facts []fact
	facts = append(facts, spoolFacts(sys.Spool)...)
	facts = append(facts, foldFacts(sys.Fold, k)...)
	facts = append(facts, controlFacts(sys.Control, k)...)
	facts = append(facts, d.storeFact(k))
	t := &table{
		ID: "system", Caption: "The parts of this server",
		Columns: []column{
			{Title: "Part", Fields: []string{"part", "measure"}}, {Title: "Now", Number: true, Fields: []string{"value"}},
			{Title: "State", Fields: []string{"state"}}, {Title: "What to do where it is not good"},
		},
	}
	for _, f := range facts {
		state, class := "good", ""
		if f.wrong {
			state, class = "look at this", "wrong"
		}
		t.Rows = append(t.Rows, row{Class: class, Cells: []cell{
			{Text: f.part + ": " + f.name, Values: []any{f.part, f.key}}, {Text: f.text, Number: true, Values: []any{f.value}},
			{Text: capital(state), Values: []any{state}}, {Text: f.act},
		}})
	}
	return k.finish(&sheet{
		Title: "System", AsOf: k.now, Tables: []*table{t},
		Body: systemBody{Faults: d.o.NotReady(), Version: cmp.Or(d.o.Version, "unknown"), Campaigns: plural(d.o.Campaigns.Len(), "campaign", "campaigns")},
	}), nil
}

func counted(part, key, name string, n uint64, wrong bool, act string) fact {
	return fact{part, key, name, count(n), n, wrong, act}
}

func spoolFacts(s *Spool) []fact {
	if s == nil {
		return nil
	}
	const part = "Spool"
	healthy := fact{part, "healthy", "takes events", "yes", s.Healthy, !s.Healthy, "The disk takes no events, so what comes now is lost; beacons and links go on. Make room or mend the disk: it goes on by itself. mailbeacon doctor says more."}
	if !s.Healthy {
		healthy.text = "no"
	}
	age := blank
	if s.Age > 0 {
		age = lapse(s.Age)
	}
	return []fact{
		healthy,
		{part, "bytes", "on disk", size(s.Bytes) + " in " + plural(s.Segments, "segment", "segments"), s.Bytes, false, ""},
		{part, "oldest_seconds", "oldest event", age, s.Age.Seconds(), s.Age > oldSpool, "Events are kept until they are counted, and leave within six minutes then. If counting is well, wait; if not, see there."},
		counted(part, "failed_appends", "events not taken since the start", s.FailedAppends, s.FailedAppends > 0, "These were answered and are lost. The log says when; the disk was full or failed."),
		counted(part, "damaged", "damaged places found", s.Damaged, s.Damaged > 0, "The bytes are kept as .bad files in the spool's folder, and the rest is counted. mailbeacon spool dump shows what is in them; look at the disk."),
	}
}

func foldFacts(f *Fold, k *look) []fact {
	if f == nil {
		return nil
	}
	const part = "Counting"
	state := fact{part, "fault", "works", "yes", f.Fault, f.Fault != "", "Events are safe in the spool meanwhile, and counting goes on by itself once the cause is gone. A full disk and a locked file are the usual ones: mailbeacon doctor."}
	if f.Fault != "" {
		state.text = "not since " + k.zone.moment(f.FaultSince)
		state.act = capital(f.Fault) + ". " + state.act
	}
	last := fact{part, "last_commit", "last commit", "none since the start", nil, false, ""}
	if !f.LastCommit.IsZero() {
		last.text, last.value = lapse(k.now.Sub(f.LastCommit))+" ago", f.LastCommit.UTC()
	}
	return []fact{
		state,
		counted(part, "waiting", "events waiting (lag)", f.Waiting, f.Waiting > slowFold, "More come than are counted. If that stays so, this machine is too small for serve: a cluster divides the work (README, If you run a cluster)."),
		counted(part, "held", "of those, held for their class", uint64(max(0, f.Held)), false, ""),
		last,
		counted(part, "retries", "commits tried again", f.Retries, false, ""),
		counted(part, "lost", "events that could not be read any more", f.Lost, f.Lost > 0, "They were damaged or deleted before they were counted. The log names the places."),
	}
}

func controlFacts(c *Control, k *look) []fact {
	if c == nil {
		return nil
	}
	const part = "Control log"
	fresh := fact{part, "fresh_seconds", "last in touch", "never", nil, c.Failing || c.LastContact.IsZero(), "Campaigns and refusals that are recorded elsewhere do not arrive here. In a cluster, look at Kafka; on one machine, at control.db: mailbeacon doctor."}
	if !c.LastContact.IsZero() {
		age := max(0, k.now.Sub(c.LastContact))
		fresh.text, fresh.value = lapse(age)+" ago", age.Seconds()
		fresh.wrong = fresh.wrong || c.HasLease && age > quiet
	}
	facts := []fact{
		fresh,
		{part, "position", "records in force", count(c.Position), c.Position, false, ""},
		counted(part, "apply_errors", "records that could not be used", c.ApplyErrors, c.ApplyErrors > 0, "A newer version may have written them: run the same version everywhere. A refusal that can't be read is taken as a refusal of everything."),
	}
	if c.HasLease {
		lease := fact{part, "lease", "lease", "held", c.Lease, !c.Lease, "No heartbeat of an admin comes back from the control log, so edges ship nothing and nothing is counted; nothing is lost. See that an admin runs and reaches Kafka."}
		if !c.Lease {
			lease.text = "run out"
		}
		facts = append(facts, lease)
	}
	return facts
}

// storeFact is when counts could be read last.
func (d *Dashboard) storeFact(k *look) fact {
	last, failing := d.memory.state()
	f := fact{"Counts", "last_read", "last read by a page", "not yet", nil, failing,
		"The store does not answer: on one machine that is counts.db, in a cluster ClickHouse. Pages show what they last read, where they have it, and recover by themselves."}
	if !last.IsZero() {
		f.text, f.value = lapse(max(0, k.now.Sub(last)))+" ago", last.UTC()
	}
	return f
}
