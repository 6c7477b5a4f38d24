SELECT position, context FROM progress WHERE partition = ?1
