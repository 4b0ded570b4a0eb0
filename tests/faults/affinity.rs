//! Jobs with one key go to one worker while it is free.
