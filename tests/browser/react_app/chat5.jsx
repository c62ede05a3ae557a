// The same chat with version 5 of the AI SDK.
import { DefaultChatTransport } from "ai5";
import { useChat } from "ai5-react";
import { showChat } from "./show_chat.jsx";

showChat(useChat, DefaultChatTransport);
