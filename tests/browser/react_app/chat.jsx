// A chat with the AI SDK's useChat, without settings, as docs/chat.md says.
import { useChat } from "@ai-sdk/react";
import { createRoot } from "react-dom/client";

function Chat() {
  const { messages, sendMessage, status, stop, error } = useChat();
  const said = messages.map(({ role, parts }) => [
    role,
    parts.map((part) => (part.type === "text" ? part.text : "")).join(""),
  ]);
  return (
    <>
      <button onClick={() => sendMessage({ text: location.hash.slice(1) })}>ask</button>
      <button onClick={stop}>stop</button>
      <output>{JSON.stringify({ status, said, error: error?.message })}</output>
    </>
  );
}

createRoot(document.getElementById("root")).render(<Chat />);
