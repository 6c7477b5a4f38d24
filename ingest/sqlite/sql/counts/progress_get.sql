SELECT p.position, p.context, e.edge, e.epoch, e.next
FROM progress p LEFT JOIN edges e ON e.partition = p.partition
WHERE p.partition = ?1
ORDER BY e.edge, e.epoch
