package aggregate

// queue is a first-in first-out queue in a slice whose room is reused.
type queue[T any] struct {
	all  []T
	head int
}

func (q *queue[T]) len() int { return len(q.all) - q.head }

// at is the i-th from the front.
func (q *queue[T]) at(i int) *T { return &q.all[q.head+i] }

func (q *queue[T]) push(v T) {
	if q.head > 0 && len(q.all) == cap(q.all) && 2*q.head >= len(q.all) {
		n := copy(q.all, q.all[q.head:])
		clear(q.all[n:])
		q.all, q.head = q.all[:n], 0
	}
	q.all = append(q.all, v)
}

func (q *queue[T]) drop() {
	var zero T
	q.all[q.head] = zero
	if q.head++; q.head == len(q.all) {
		q.all, q.head = q.all[:0], 0
	}
}

func (q *queue[T]) clear() {
	clear(q.all)
	q.all, q.head = q.all[:0], 0
}
