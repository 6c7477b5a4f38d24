SELECT edge, epoch, next FROM edges WHERE partition = ?1
