export function connect() { throw new Error("the browser client has not been built"); }
