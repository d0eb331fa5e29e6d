package agents

// queue holds messages of one session that wait, urgent ones first. A newer
// message of the same key takes the older one's place, so that what is said
// again and again, such as heartbeats or progress, waits once. The zero value
// is empty; the keys are few enough to be looked through.
type queue[T any] struct {
	urgent, other []entry[T]
	bytes         int
}

// entry is one message.
type entry[T any] struct {
	// key is the same for messages of which only the newest counts; "": for none.
	key  string
	msg  T
	size int
}

// put adds a message, or replaces the one of its key where it stands.
func (q *queue[T]) put(e entry[T], urgent bool) {
	lane := &q.other
	if urgent {
		lane = &q.urgent
	}
	q.bytes += e.size
	for i := range *lane {
		if e.key != "" && (*lane)[i].key == e.key {
			q.bytes -= (*lane)[i].size
			(*lane)[i] = e
			return
		}
	}
	*lane = append(*lane, e)
}

// take removes the most urgent message.
func (q *queue[T]) take() (msg T, ok bool) {
	lane := &q.urgent
	if len(*lane) == 0 {
		lane = &q.other
	}
	if len(*lane) == 0 {
		return msg, false
	}
	first := (*lane)[0]
	(*lane)[0] = entry[T]{}
	*lane = (*lane)[1:]
	if len(*lane) == 0 {
		*lane = nil // an idle session holds no room for what it once had to say
	}
	q.bytes -= first.size
	return first.msg, true
}

// holds tells whether a message of the key waits already.
func (q *queue[T]) holds(key string) bool {
	for _, lane := range [][]entry[T]{q.urgent, q.other} {
		for i := range lane {
			if key != "" && lane[i].key == key {
				return true
			}
		}
	}
	return false
}

func (q *queue[T]) len() int { return len(q.urgent) + len(q.other) }

func (q *queue[T]) clear() { *q = queue[T]{} }
