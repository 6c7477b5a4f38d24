// Package classify answers "who opened it?": a table of signs and the class each speaks for. The
// edge turns a request into signals (Edge), the fold turns signals and what a message did within
// the window into a class.
package classify

// Class is who is behind an event, as far as can be known. The numbers are stored.
type Class uint8

const (
	// Unknown means that nothing speaks for a person or against.
	Unknown Class = iota
	// Human is a person, as far as can be known.
	Human
	// Proxied is a person, through a mail provider's image proxy.
	Proxied
	// Machine is a prefetch, a scanner or a bot.
	Machine

	classCount
)

var classNames = [...]string{Unknown: "unknown", Human: "human", Proxied: "proxied", Machine: "machine"}

// String is the class's word in reports, "invalid" outside the set.
func (c Class) String() string {
	if c >= classCount {
		return "invalid"
	}
	return classNames[c]
}

// Classes lists all classes in their stored order.
func Classes() []Class { return []Class{Unknown, Human, Proxied, Machine} }
