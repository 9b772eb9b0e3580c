//! SONiC's Redis wire conventions, free of telegen's words.
