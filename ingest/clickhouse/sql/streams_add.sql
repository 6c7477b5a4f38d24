INSERT INTO streams (number, id, topic, deadline)
